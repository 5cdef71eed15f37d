# The kernels in CUDA C, by nvcc: mffa_cuda_object(OBJECT FILE.cu HEADERS...) sets OBJECT to the object file, a source of some target.
# CMake's own CUDA support wants a whole toolkit; the compiler's packages are enough here.
set(MFFA_NVCC "" CACHE FILEPATH "nvcc of CUDA 13 (default: where ./run build --cuda puts it, else the one in PATH)")
set(mffa_nvcc "${MFFA_NVCC}")
if(NOT mffa_nvcc AND EXISTS "${torch_cache}/mffa/nvcc-13.0.88/nvidia/cu13/bin/nvcc")
  set(mffa_nvcc "${torch_cache}/mffa/nvcc-13.0.88/nvidia/cu13/bin/nvcc")
endif()
if(NOT mffa_nvcc)
  find_program(nvcc_in_path nvcc)
  set(mffa_nvcc "${nvcc_in_path}")
endif()
if(NOT mffa_nvcc)
  message(FATAL_ERROR "no nvcc: ./run build --cuda installs it, -DMFFA_NVCC=FILE names one")
endif()
message(STATUS "nvcc: ${mffa_nvcc}")

# The run-time library's headers come with libtorch's packages, or lie beside a toolkit's nvcc.
set(mffa_cuda_includes "")
get_filename_component(nvcc_root "${mffa_nvcc}" REALPATH)
foreach(dir "${torch_dir}/../nvidia/cu13/include" "${nvcc_root}/../../include")
  get_filename_component(dir "${dir}" ABSOLUTE)
  if(EXISTS "${dir}")
    list(APPEND mffa_cuda_includes "${dir}")
  endif()
endforeach()

# Machine code for GPUs from Turing on, and portable code of the newest kind for those that are newer still.
set(mffa_nvcc_flags -O3 -std=c++17 -Wno-deprecated-gpu-targets -Xcompiler=-fPIC,-Wall,-Wextra,-Werror "-I${CMAKE_SOURCE_DIR}")
foreach(dir IN LISTS mffa_cuda_includes)
  list(APPEND mffa_nvcc_flags "-isystem" "${dir}")
endforeach()
foreach(kind 75 80 86 89 90 100 120)
  list(APPEND mffa_nvcc_flags -gencode "arch=compute_${kind},code=sm_${kind}")
endforeach()
list(APPEND mffa_nvcc_flags -gencode arch=compute_120,code=compute_120)

function(mffa_cuda_object out source)
  set(object "${CMAKE_CURRENT_BINARY_DIR}/${source}.o")
  list(TRANSFORM ARGN PREPEND "${CMAKE_CURRENT_SOURCE_DIR}/")
  add_custom_command(OUTPUT "${object}" COMMAND "${mffa_nvcc}" ${mffa_nvcc_flags} -c "${CMAKE_CURRENT_SOURCE_DIR}/${source}" -o "${object}"
    DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${source}" ${ARGN} COMMENT "Building CUDA object ${source}.o" VERBATIM)
  set_source_files_properties("${object}" PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
  set(${out} "${object}" PARENT_SCOPE)
endfunction()
