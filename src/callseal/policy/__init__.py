"""Principal, action, resource, context: a decision with its reasons; default deny."""
