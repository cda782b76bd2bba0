"""The only package that imports aioboto3: credentials, presigning of any operation, sample links, regions, uploads.

Nothing of botocore leaves this package: its exceptions become ours, its credentials become `Credentials`.
"""

from bulkpresign.aws.client import Aws
from bulkpresign.aws.credentials import Credentials
from bulkpresign.aws.regions import AUTO
from bulkpresign.aws.sessions import SAMPLE_CREDENTIALS, SAMPLE_EXPIRES_IN, SAMPLE_KEY, AwsSession

__all__ = ["AUTO", "SAMPLE_CREDENTIALS", "SAMPLE_EXPIRES_IN", "SAMPLE_KEY", "Aws", "AwsSession", "Credentials"]
