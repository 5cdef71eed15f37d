/* How many processors this process may use: what its affinity mask allows, and no more than a container's CPU limit (cgroup v2
 * cpu.max, rounded up). Threads beyond that wait for each other. */
#ifndef MFFA_CORE_NN_CPUS_H
#define MFFA_CORE_NN_CPUS_H

int mffa_cpus(void); /* at least 1 */

#endif
