"""The shapes of the API's documents, for its OpenAPI description.

Nothing is checked or built by these classes while the API answers: the documents come from
:mod:`tenure.client.documents`, as the command line's do. A test holds the two together.
"""
