//! The command line: verbs, tables, live views.
