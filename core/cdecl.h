/* C linkage for headers that CUDA translation units include too. */
#ifndef HONE_CORE_CDECL_H
#define HONE_CORE_CDECL_H

#ifdef __cplusplus
#define CDECL_BEGIN extern "C" {
#define CDECL_END }
#else
#define CDECL_BEGIN
#define CDECL_END
#endif

#endif
