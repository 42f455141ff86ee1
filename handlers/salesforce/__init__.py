"""Salesforce REST API: any sObject; rows, collections, upserts by external id, deletions with SOAP's undelete.

Sources: the vendor's documentation (REST API Developer Guide; SOAP API Developer Guide for undelete and describe). It
publishes no specification file. docs/handlers/salesforce.md lists what is not verified, and why being wrong there loses
nothing. 2,000 records are read by one call, 200 written; an answer of 200 tells of each record whether it was written.

    handler.py  the class: who Guard is, what both doors ask for, what is read
    names.py    ids, object types, the vendor's own requests
    passed.py   those requests taken apart into records
    writing.py  which calls carry changes out
    objects.py  which fields an object type has, by the org's own description
    values.py   their values as callers, images and Salesforce have them, and when two are the same
    answers.py  what an answer says of each record
    soap.py     undelete, which the REST API does not have
    soql.py     queries: which record has this external id, and what hangs on a record
"""

from handlers.salesforce.handler import Salesforce

__all__ = ["Salesforce"]
