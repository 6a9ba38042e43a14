//! Everything that needs the built binaries, in one test program.

mod fuzz_replay;
mod limits_table;
mod tidy;
