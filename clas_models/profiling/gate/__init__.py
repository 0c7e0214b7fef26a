"""How a language gate is made: a tokenizer and a parallel corpus in, a `LanguageGate` out."""
