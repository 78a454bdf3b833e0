"""The nouns: frozen types for every object, with no behaviour beyond reading themselves."""
