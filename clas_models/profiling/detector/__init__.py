"""How a language detector is made: a tokenizer and a parallel corpus in, a `LanguageDetector` out."""
