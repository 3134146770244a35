"""imagegen's migrations, installed as `imagegen.db`."""
