"""The pages of the documentation site, by name, in both languages."""

import re

from docs.build_site import LANGUAGES, sources_of

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
ENGLISH, CHINESE = (sources_of(language) for language in LANGUAGES)
PAGES = sorted({*ENGLISH.values(), *CHINESE.values()})
TRANSLATED = sorted(name for name in ENGLISH if ENGLISH[name] != CHINESE[name])
