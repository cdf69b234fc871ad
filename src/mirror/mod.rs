//! In: a table of members, and the state of earlier runs. Out: a cohort that is equal to it. It decides the order of steps; it never
//! knows what a warehouse's statements look like in `run`, nor Braze's requests anywhere.

pub mod warehouse;
