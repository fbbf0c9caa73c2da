"""Speed and footprint: every figure with its limit, as ratios within one run."""
