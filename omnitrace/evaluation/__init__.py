"""How far attributions can be trusted: labels, matching, metrics, baselines, intervals."""
