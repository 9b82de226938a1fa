"""What a release is in the clusters, and how it gets back there: `record` what it looked like while it served, `ends`
where each workload and setting should stand and what that changes, `rolling` how it is written and waited for."""
