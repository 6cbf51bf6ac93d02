//! Records in, records out: the processor driven by hand over the sample company, with a clock that the test moves.

mod authors;
mod bench;
mod judging;
mod letters;
mod plans;
