//! [`std::os::unix::fs`] for greenlets.

pub use ::std::os::unix::fs::{
    DirBuilderExt, DirEntryExt, FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt,
};

pub use crate::fs::unix::{chown, chroot, fchown, lchown, symlink};
