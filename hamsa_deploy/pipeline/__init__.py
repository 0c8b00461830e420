"""From a request to a published bundle, stage by stage; start with `run`."""
