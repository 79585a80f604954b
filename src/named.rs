//! Values with one name each, in JSON, in the database, in metrics or at WeChat; both directions come from one list, so
//! that a value without a name does not compile.

macro_rules! named {
    ($type:ident { $($variant:ident = $name:literal),* $(,)? }) => {
        impl $type {
            /// Every value, in the order of the definition.
            pub const ALL: &[$type] = &[$($type::$variant),*];

            /// Its name.
            pub const fn as_str(self) -> &'static str {
                match self { $($type::$variant => $name),* }
            }

            /// From that name.
            pub fn parse(text: &str) -> Option<$type> {
                match text { $($name => Some($type::$variant),)* _ => None }
            }
        }
    };
}
