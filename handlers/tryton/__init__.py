"""Tryton: an ERP that speaks JSON-RPC, any model by its name.

calls       what is said to it: the one path, ids, contexts, batches and how they are cut
models      what a model says of its fields, and records as images
answers     what comes back: errors stand within answers of 200
handler     the Handler

docs/handlers/tryton.md says what is guarded, what is lost and what was tried on a real one.
"""

from handlers.tryton.handler import Tryton

__all__ = ["Tryton"]
