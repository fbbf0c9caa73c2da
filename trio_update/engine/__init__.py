"""The engine: jobs, the journal, and the one transaction that every change to an app goes through.

Words, each with one meaning:

order, task, job
    What was asked for; what that means for one app; and its carrying out.  One job at a time has the *lane*.
position
    How far a job has come (:mod:`~trio_update.engine.states`); an entry has a *phase* instead.
update
    What a task does to an app, whichever way its version goes (:mod:`~trio_update.engine.transaction`): *prepare*
    aside, *switch*, check, *commit*.
effect
    One visible change that a switch is made of, as data that another process can read and undo.
entry
    What the *journal* holds of an update under way, so that whoever comes after a kill can act on it.
put back, undo
    An update that was not committed is undone; its app is put back.
finish
    A committed update is finished: what was kept only for the way back is removed.
resume
    A start, or the user, undoes or finishes what a killed process left open.
stuck, untidy
    An app that could not be put back; one that is well, and something is left beside it.
recover
    What a user asks for to get an app whole again; *hard*: by a fresh copy.
gate
    Asks the host before each step that somebody could feel.
board, view
    What was seen of the apps; the whole status that is made of it.
"""
