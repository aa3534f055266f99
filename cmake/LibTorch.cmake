# The imported target rung_libtorch, from -DLIBTORCH=DIR: a torch package directory of a Python environment, an unpacked
# official archive, or any directory with include/ and lib/. Never find_package(Torch): its Caffe2 configuration
# replaces protobuf::libprotobuf and demands a CUDA toolkit where the build has CUDA.
set(LIBTORCH "" CACHE PATH "LibTorch directory (with include/ and lib/)")
if(NOT LIBTORCH)
  set(LIBTORCH "$ENV{LIBTORCH}")
endif()
if(NOT EXISTS "${LIBTORCH}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "LIBTORCH = '${LIBTORCH}' holds no lib/libtorch_cpu.so. Run `make deps`, or give LIBTORCH=DIR, or "
                      "configure with -DRUNG_TORCH=OFF.")
endif()
set(_torch_libraries ${LIBTORCH}/lib/libtorch.so ${LIBTORCH}/lib/libtorch_cpu.so)
if(EXISTS "${LIBTORCH}/lib/libtorch_cuda.so")
  list(APPEND _torch_libraries ${LIBTORCH}/lib/libtorch_cuda.so ${LIBTORCH}/lib/libc10_cuda.so)
endif()
add_library(rung_libtorch INTERFACE)
target_include_directories(rung_libtorch SYSTEM INTERFACE ${LIBTORCH}/include
                                                          ${LIBTORCH}/include/torch/csrc/api/include)
target_link_libraries(rung_libtorch INTERFACE -Wl,--no-as-needed ${_torch_libraries} -Wl,--as-needed
                                              ${LIBTORCH}/lib/libc10.so)
target_link_options(rung_libtorch INTERFACE -Wl,-rpath,${LIBTORCH}/lib)
