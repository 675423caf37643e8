"""Versions of installed packages."""

from centernet2.versions import installed_versions


def test_packages_under_other_names_have_no_version() -> None:
    """Such as onnxruntime where onnxruntime-gpu is installed."""
    found = installed_versions(("torch", "no-such-package", "numpy"))
    assert list(found) == ["torch", "numpy"] and all(found.values())
