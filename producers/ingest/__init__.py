"""The gateway for robots that do not speak Kafka: JSON lines in, the robot SDK behind; never a promise of its own.

lines -> messages -> session -> seat -> SDK and its spool; sockets (tcp, web) stand around it and decide nothing.
"""
