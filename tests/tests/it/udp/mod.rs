//! UDP of a workload: to the outside it passes and is counted, to the mesh it is refused and a line says so, and the
//! host's loopback is reached as by TCP. The outside is an address in a network that the test made.

mod lasting;
mod passes;
mod refused;
mod rig;
