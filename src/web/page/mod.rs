//! Pages of ours: which addresses are, however a front end writes one, and what `wx.config` needs for one.

pub mod address;
pub mod jssdk;
pub mod origins;
