//! The harness: state folders, processes that end with their test, and waits for events.
