"""Static files whose names contain a hash of their content, in imports between modules too."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class ModuleStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """After a deployment no browser mixes an old module with a new one."""

    support_js_module_import_aggregation = True

    def stored_name(self, name: str) -> str:
        """Before `collectstatic` there is no hash: then a page names the file as it is."""
        return super().stored_name(name) if self.hashed_files else name
