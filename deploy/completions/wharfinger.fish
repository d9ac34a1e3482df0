# Completions of fish. The program prints them, so that they belong to its version.
command -q wharfinger; and wharfinger completions fish | source
