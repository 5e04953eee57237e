"""What outlives a call: pictures under a link, answers that can be asked for again, jobs."""
