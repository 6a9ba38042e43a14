//! Properties of the room's pure functions, over random input.
#![expect(clippy::unwrap_used, reason = "tests may unwrap; clippy sees only #[test] functions as such")]

mod balance;
mod decide;
mod generate;
mod naive;
mod path;
