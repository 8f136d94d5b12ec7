"""Numbers for people: rates, effort, histograms, and the snapshot of all of them. Pure: values in, values out."""
