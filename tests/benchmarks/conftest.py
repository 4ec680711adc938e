import sys
from pathlib import Path

# Benchmarks import each other by bare name, as a script in their folder does.
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
