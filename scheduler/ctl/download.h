/* One file over HTTP into a local path, over libcurl: certificates checked, redirects followed to https only, nothing waits for ever.
 * The one place of mffactl that sees libcurl. */
#ifndef MFFA_SCHEDULER_CTL_DOWNLOAD_H
#define MFFA_SCHEDULER_CTL_DOWNLOAD_H

#include "core/base/progress.h"

/* Writes path directly: the caller chooses a temporary name, and removes it after a failure. Told in bytes as the phase "bytes" with
 * total 0 while the size is unknown. MFFA_EIO: url and reason. */
MFFA_MUST_USE mffa_code mffa_download(const char *url, const char *path, const mffa_progress *progress, mffa_err *err);

#endif
