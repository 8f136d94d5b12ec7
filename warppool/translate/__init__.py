"""The translator: V1 machines on a V2 pool, value to value; the only package that knows both protocols."""
