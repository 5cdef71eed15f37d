/* Memory that a piece of work needs at its peak. */
#ifndef MFFA_CORE_MFFA_NEED_H
#define MFFA_CORE_MFFA_NEED_H

#include <stdint.h>

typedef struct mffa_need { /* bytes */
    int64_t host;
    int64_t device; /* of the GPU, beside what its driver keeps for itself; 0 on a CPU */
} mffa_need;

#endif
