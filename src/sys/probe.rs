//! Switches that make the runtime believe that the kernel lacks something, so that the
//! fallback can be tested where the kernel does not lack it. `src/docs/environment.md` lists them.

use std::sync::OnceLock;

/// Whether `GREENLET_WITHOUT` (a comma list, read once) names `feature`.
pub(crate) fn without(feature: &str) -> bool {
    static LIST: OnceLock<String> = OnceLock::new();
    LIST.get_or_init(|| std::env::var("GREENLET_WITHOUT").unwrap_or_default())
        .split(',')
        .any(|name| name.trim() == feature)
}
