"""The command `finetune` in parts: what a user chooses, what rows become, one training after the other, and tables.

How a model is trained is the business of `clas_models.finetuning`.
"""
