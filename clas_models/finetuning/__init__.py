"""Adapters that change a few neurons: trained, recorded, and put into a model.

Training of weights is PEFT's and transformers'; the tasks are the evaluation's.  Importing the package loads neither.
"""
