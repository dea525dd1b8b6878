//! Expressions and templates of a plan: [`Expr`], [`Template`], evaluated in a [`Scope`].
