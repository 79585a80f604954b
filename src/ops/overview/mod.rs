//! The first page: is money coming in, does anything stand still, has a person to act.
//!
//! What must stay true: a part that cannot be read in time hides no other one; it is what it was, with the time it is
//! from, or is missing and said to be.

mod figures;
mod finance;

pub use figures::{
    Figures, Known, Machinery, MerchantDay, Minutes, Percentiles, Reading, Waiting, certificates, figures,
};
pub use finance::{Bills, MAX_LISTED};
