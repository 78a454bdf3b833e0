"""Made from proto/ by kuttab.rpc.generate; not to be edited."""
