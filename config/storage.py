"""Static files by the name of their content, modules that import each other included."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class ModuleStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Just after a deploy no browser mixes a module of before with one of now."""

    support_js_module_import_aggregation = True
