"""What is mended in KServe's SDK (0.21.0), one file a defect: delete each when upstream mends it.

The SDK serves: its data plane, V1 and V2 endpoints, gRPC servicer and types are used as they are.
Each file says in one line what goes wrong without it, and has a test that fails without it.
"""
