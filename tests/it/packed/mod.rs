//! Rows that are stored packed: the form, and both forms side by side in one database.

mod form;
mod rows;
