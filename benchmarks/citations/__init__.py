"""Whether citations on real text models name the right document, or none."""
