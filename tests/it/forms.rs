//! TODO forms.
