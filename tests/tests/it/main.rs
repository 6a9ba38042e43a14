//! Everything that needs the built binaries, in one test program.

mod tidy;
