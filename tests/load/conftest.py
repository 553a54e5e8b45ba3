from plugin_faults.conftest import nothing_keeps_running, site

__all__ = ["nothing_keeps_running", "site"]
