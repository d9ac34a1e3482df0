# Completions of bash. The program prints them, so that they belong to its version.
command -v wharfinger >/dev/null && source <(wharfinger completions bash)
